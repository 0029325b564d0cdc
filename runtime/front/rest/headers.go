package rest

import (
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"

	"accelform/front/refusal"
)

const (
	timeoutHeader   = "X-Timeout-Ms"
	exactnessHeader = "X-Accelform-Exactness"
	measuredHeader  = "X-Accelform-Measured-Ms"
	certificate     = "certificate"
	longestTimeout  = 24 * time.Hour
)

// measured is the time since a request's arrival, as gRPC's trailing metadata writes it.
func measured(since time.Time) string {
	return strconv.FormatFloat(float64(time.Since(since))/float64(time.Millisecond), 'f', 3, 64)
}

// timeout is how long the caller waits, counted from its request's arrival; 0 when it does not say.
func timeout(headers http.Header) (time.Duration, *problem) {
	values := headers.Values(timeoutHeader)
	if len(values) == 0 {
		return 0, nil
	}
	number, err := strconv.ParseUint(values[0], 10, 32)
	wanted := time.Duration(number) * time.Millisecond
	if len(values) > 1 || err != nil || wanted == 0 || wanted > longestTimeout {
		return 0, &problem{refusal: refusal.New(
			codes.InvalidArgument, "%s must be one whole number of milliseconds from 1 to %d", timeoutHeader,
			longestTimeout.Milliseconds(),
		)}
	}
	return wanted, nil
}

// certified is whether the caller wants an answer that is known to equal the definition.
func certified(headers http.Header) (bool, *problem) {
	wishes := headers.Values(exactnessHeader)
	if len(wishes) == 0 {
		return false, nil
	}
	if wishes[0] != certificate {
		return false, &problem{refusal: refusal.New(
			codes.InvalidArgument, "%s must be '%s', or be left out", exactnessHeader, certificate,
		)}
	}
	return true, nil
}
