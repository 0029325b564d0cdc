package security

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// The kinds of Unusable, named as the classes in accelform_runtime/errors.py.
const (
	// KindAddress is an address or a port that cannot be listened on.
	KindAddress = "AddressUnavailable"
	// KindKeys is a key file without usable keys.
	KindKeys = "KeyFileInvalid"
	// KindTokenKeys is a file without usable public keys of tokens.
	KindTokenKeys = "TokenKeysInvalid"
	// KindCertificate is a certificate, private key or client authority that cannot be used.
	KindCertificate = "ConfigInvalid"
)

// Unusable is what keeps a server from starting until its operator changes something. The message is for the operator
// and names paths; it never holds a key.
type Unusable struct {
	Kind    string
	Message string
	Cause   error
}

// Error is the message.
func (u *Unusable) Error() string { return u.Message }

// Unwrap is what the operating system or a parser said.
func (u *Unusable) Unwrap() error { return u.Cause }

func unusable(kind string, cause error, format string, values ...any) *Unusable {
	return &Unusable{Kind: kind, Cause: cause, Message: fmt.Sprintf(format, values...)}
}

// reason is the part of an operating system's error that does not repeat the operation and the path.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		return number.Error()
	}
	return err.Error()
}
