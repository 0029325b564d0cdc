package telemetry

import (
	"time"

	"google.golang.org/grpc/codes"
)

// Protocols that a call may come by.
const (
	GRPC = "grpc"
	HTTP = "http"
)

// Call is what is known of a call once it has its answer.
type Call struct {
	// Protocol is GRPC or HTTP.
	Protocol string
	// Method is the RPC's name without its service, such as Predict; names that are not in Methods count as Other.
	Method string
	// Code is gRPC's name of the status, such as OK or INVALID_ARGUMENT.
	Code string
	// Took is the time from the arrival to the answer, Queued the part of it spent waiting for the FPGA.
	Took, Queued time.Duration
	// Images is how many images the call had scored.
	Images int
	// What the FPGA's model says of the call; 0 when it was not scored.
	ModelledLatencyMs, ModelledQueueMs, ModelledOccupancyMs float64
	// Sizes of the messages.
	RequestBytes, ReplyBytes int
}

// Other stands for every method that is not in Methods.
const Other = "other"

// Methods are the values of the label `method`. Those before GetModelMetadata have the FPGA compute.
var Methods = [...]string{
	"Predict", "Classify", "Regress", "MultiInference",
	"GetModelMetadata", "GetModelStatus", "HandleReloadConfigRequest", Other,
}

const (
	inferences  = 4
	otherMethod = len(Methods) - 1
)

// codeNames are gRPC's names by number; the status package of grpc-go has them in another spelling only.
var codeNames = [...]string{
	codes.OK:                 "OK",
	codes.Canceled:           "CANCELLED",
	codes.Unknown:            "UNKNOWN",
	codes.InvalidArgument:    "INVALID_ARGUMENT",
	codes.DeadlineExceeded:   "DEADLINE_EXCEEDED",
	codes.NotFound:           "NOT_FOUND",
	codes.AlreadyExists:      "ALREADY_EXISTS",
	codes.PermissionDenied:   "PERMISSION_DENIED",
	codes.ResourceExhausted:  "RESOURCE_EXHAUSTED",
	codes.FailedPrecondition: "FAILED_PRECONDITION",
	codes.Aborted:            "ABORTED",
	codes.OutOfRange:         "OUT_OF_RANGE",
	codes.Unimplemented:      "UNIMPLEMENTED",
	codes.Internal:           "INTERNAL",
	codes.Unavailable:        "UNAVAILABLE",
	codes.DataLoss:           "DATA_LOSS",
	codes.Unauthenticated:    "UNAUTHENTICATED",
}

var (
	methodIndex = indexOf(Methods[:])
	codeIndex   = indexOf(codeNames[:])
)

// CodeName is gRPC's own name of a status code, such as INVALID_ARGUMENT; UNKNOWN for a number that has none.
func CodeName(code codes.Code) string {
	if int(code) < len(codeNames) {
		return codeNames[code]
	}
	return codeNames[codes.Unknown]
}

func indexOf(names []string) map[string]int {
	index := make(map[string]int, len(names))
	for at, name := range names {
		index[name] = at
	}
	return index
}

// place finds a call's labels: anything unknown counts under a name that is always there, so that no caller can make
// the service keep more series than it has at its start.
func (c *Call) place() (protocol, method, code int) {
	if c.Protocol == HTTP {
		protocol = 1
	}
	method, known := methodIndex[c.Method]
	if !known {
		method = otherMethod
	}
	code, known = codeIndex[c.Code]
	if !known {
		code = int(codes.Unknown)
	}
	return protocol, method, code
}
