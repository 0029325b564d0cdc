// Package refusal holds the one error type that reaches a caller: a gRPC status with a text made for people.
package refusal

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Refusal says what failed, why, and what to do next. Its message travels, so it names no paths and no internals.
type Refusal struct {
	Code    codes.Code
	Message string
	// Detail is for the log only.
	Detail string
	// RetryAfter is when another try makes sense; 0 says nothing about it.
	RetryAfter time.Duration
}

// Error is the message for the caller.
func (r *Refusal) Error() string { return r.Message }

// Status is the refusal as gRPC's error.
func (r *Refusal) Status() error { return status.Error(r.Code, r.Message) }

// New makes a refusal from a format.
func New(code codes.Code, format string, values ...any) *Refusal {
	return &Refusal{Code: code, Message: Clip(fmt.Sprintf(format, values...))}
}

// longest is what a message may take in headers, where a status travels; clients refuse headers of 8 KiB.
const longest = 3000

// Clip shortens a message, which may repeat a name of any length, to what a status can carry.
func Clip(message string) string {
	cost := 0
	for at, char := range message {
		if char >= ' ' && char <= '~' && char != '%' {
			cost++
		} else {
			cost += 3 * utf8.RuneLen(char) // each byte goes as %XX
		}
		if cost > longest {
			return message[:at] + "…"
		}
	}
	return message
}

// Internal is a failure of ours: the caller gets a fixed text, the log gets the detail.
func Internal(detail string) *Refusal {
	return &Refusal{
		Code:    codes.Internal,
		Message: "the service failed on this call; its log tells why under this call's request_id",
		Detail:  detail,
	}
}

// Of finds the refusal in an error; anything else becomes Internal.
func Of(err error) *Refusal {
	var found *Refusal
	if errors.As(err, &found) {
		return found
	}
	return Internal(err.Error())
}
