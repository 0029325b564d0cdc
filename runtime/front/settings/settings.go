// Package settings reads what the front has to know, from the pipe that its parent leaves open.
package settings

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Settings are service.json and what the entry point adds.
type Settings struct {
	Service

	// ModelDir is the folder of the first resident's bundle.
	ModelDir string `json:"model_dir"`
	// ModelName and ModelVersion are what that bundle says of itself.
	ModelName    string `json:"model_name"`
	ModelVersion int64  `json:"model_version"`
	// BundleSHA256 is what that bundle's description must have, hex; empty: any.
	BundleSHA256 string `json:"bundle_sha256"`
	// WorkerCommand starts a worker; its end of the socket pair is file descriptor 3.
	WorkerCommand []string `json:"worker_command"`
	// RuntimeVersion is the version of accelform_runtime.
	RuntimeVersion string `json:"runtime_version"`
	// LogLinesLost are lines that could not be written before the front took over.
	LogLinesLost uint64 `json:"log_lines_lost"`
}

// Read decodes the settings in full; a field that is unknown or of another type is an error, since both sides are
// parts of one runtime.
func Read(from io.Reader) (*Settings, error) {
	decoder := json.NewDecoder(from)
	decoder.DisallowUnknownFields()
	var found Settings
	if err := decoder.Decode(&found); err != nil {
		return nil, fmt.Errorf("cannot read the settings that accelform_runtime.server hands over: %w", err)
	}
	return &found, nil
}

// leastReceived is the least budget for requests that are being received.
const leastReceived = 32 << 20

// ReceivedBytes is max_received_bytes, or what 0 stands for.
func (s *Settings) ReceivedBytes() int64 {
	if s.MaxReceivedBytes > 0 {
		return int64(s.MaxReceivedBytes)
	}
	return max(leastReceived, 3*int64(s.MaxRequestBytes))
}

// Seconds turns a setting in seconds into a duration.
func Seconds(seconds float64) time.Duration {
	return time.Duration(seconds * float64(time.Second))
}

// Milliseconds turns a setting in milliseconds into a duration.
func Milliseconds(milliseconds int) time.Duration {
	return time.Duration(milliseconds) * time.Millisecond
}
