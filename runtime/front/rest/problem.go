package rest

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"

	"accelform/front/refusal"
)

// clientClosed is what proxies and TensorFlow Serving log for a caller that went away.
const clientClosed = 499

// problem is a refusal on its way over HTTP.
type problem struct {
	refusal *refusal.Refusal
	// status is for what HTTP knows better than gRPC's code; 0 leaves it to the code.
	status int
}

func (p problem) httpStatus() int {
	if p.status != 0 {
		return p.status
	}
	return httpStatus(p.refusal.Code)
}

// httpStatus is TensorFlow Serving's HTTP status for a gRPC code.
func httpStatus(code codes.Code) int {
	switch code {
	case codes.OK:
		return http.StatusOK
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted:
		return http.StatusConflict
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Canceled:
		return clientClosed
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// describe sets the headers that tell a caller what to do.
func (p problem) describe(header http.Header) {
	after := p.refusal.RetryAfter
	switch p.httpStatus() {
	case http.StatusTooManyRequests:
		after = max(after, time.Second)
	case http.StatusUnauthorized:
		header.Set("WWW-Authenticate", "Bearer")
	case http.StatusUnsupportedMediaType:
		header.Set("Accept-Encoding", "gzip, identity")
	}
	if after > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
}
