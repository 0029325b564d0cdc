package rest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"

	"accelform/front/intake"
	"accelform/front/refusal"
)

const (
	firstBuffer = 16 * 1024
	// A length that is only announced gets no more memory than this.
	mostUnseen = 64 * 1024
)

// body reads the whole request, inflated, and takes from `part` what it holds.
func (e *exchange) body(part *intake.Share) ([]byte, *problem) {
	limit := e.deps.Settings.MaxRequestBytes
	if e.request.ContentLength > int64(limit) {
		return nil, tooLong(limit)
	}
	var source io.Reader = http.MaxBytesReader(e.writer.ResponseWriter, e.request.Body, int64(limit))
	first, announced := firstBuffer, e.request.ContentLength
	switch encoding := strings.ToLower(strings.Join(e.request.Header.Values("Content-Encoding"), ", ")); encoding {
	case "", "identity":
		if announced >= 0 {
			// One byte more, so that the end is seen without growing.
			first, limit = int(min(announced, mostUnseen))+1, int(announced)
		}
	case "gzip", "x-gzip":
		packed, failed := collect(source, first, limit, part)
		if failed != nil {
			return nil, failed
		}
		inflated, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, unreadable(err, limit)
		}
		source = intake.Unpack(inflated)
	default:
		return nil, &problem{status: http.StatusUnsupportedMediaType, refusal: refusal.New(
			codes.InvalidArgument, "the request's Content-Encoding is not known; send gzip or no encoding",
		)}
	}
	return collect(source, first, limit, part)
}

func collect(source io.Reader, first, limit int, part *intake.Share) ([]byte, *problem) {
	if !part.Take(first) {
		return nil, busy()
	}
	held := make([]byte, 0, first)
	for {
		count, err := source.Read(held[len(held):cap(held)])
		held = held[:len(held)+count]
		switch {
		case len(held) > limit:
			return nil, tooLong(limit)
		case err == io.EOF:
			return held, nil
		case err != nil:
			return nil, unreadable(err, limit)
		case len(held) == cap(held):
			more := min(cap(held), limit+1-cap(held))
			if !part.Take(more) {
				return nil, busy()
			}
			held = append(make([]byte, 0, cap(held)+more), held...)
		}
	}
}

func tooLong(limit int) *problem {
	return &problem{status: http.StatusRequestEntityTooLarge, refusal: refusal.New(
		codes.ResourceExhausted,
		"the request has more than the %d bytes that the service takes, counted after inflation; send less at once", limit,
	)}
}

func busy() *problem { return &problem{refusal: intake.Full()} }

func unreadable(err error, limit int) *problem {
	var tooMany *http.MaxBytesError
	var slow net.Error
	switch {
	case errors.As(err, &tooMany):
		return tooLong(limit)
	case errors.As(err, &slow) && slow.Timeout():
		return &problem{status: http.StatusRequestTimeout, refusal: refusal.New(
			codes.DeadlineExceeded, "the request did not arrive in the time that the service gives it; send it faster",
		)}
	}
	found := refusal.New(codes.InvalidArgument, "the request's body is not whole or not in the encoding that it claims")
	found.Detail = found.Message + ": " + err.Error()
	return &problem{refusal: found}
}
