package rest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"accelform/front/refusal"
	"accelform/front/wire"
)

type kind int

const (
	routeNowhere kind = iota
	routeAlive
	routeReady
	routeMetrics
	routeStatus
	routeMetadata
	routeInference
)

// verbs are what the header Allow says of a route.
func (k kind) verbs() string {
	if k == routeInference {
		return http.MethodPost
	}
	return "GET, HEAD"
}

type route struct {
	kind kind
	spec Spec
	// rpc is the name that gRPC has for what is asked, verb the one of the path.
	rpc, verb string
}

const models = "/v1/models"

var inferences = map[string]string{"predict": "Predict", "classify": "Classify", "regress": "Regress"}

// find reads an escaped path. The problem, if there is one, is for callers that may know which paths there are.
func find(path string) (route, *problem) {
	switch path {
	case "/healthz", "/livez":
		return route{kind: routeAlive}, nil
	case "/readyz":
		return route{kind: routeReady}, nil
	case "/metrics", "/monitoring/prometheus/metrics":
		return route{kind: routeMetrics}, nil
	case models:
		return route{kind: routeStatus, rpc: "GetModelStatus"}, nil
	}
	rest, is := strings.CutPrefix(path, models+"/")
	if !is {
		return nowhere()
	}
	found := route{kind: routeStatus, rpc: "GetModelStatus"}
	if at := strings.LastIndexByte(rest, ':'); at >= 0 {
		found.kind, found.verb = routeInference, rest[at+1:]
		if found.rpc = inferences[found.verb]; found.rpc == "" {
			return nowhere()
		}
		rest = rest[:at]
	}
	parts := strings.Split(rest, "/")
	if last := len(parts) - 1; last > 0 && last%2 == 1 && parts[last] == "metadata" && found.kind == routeStatus {
		found.kind, found.rpc = routeMetadata, "GetModelMetadata"
		parts = parts[:last]
	}
	if len(parts) != 1 && len(parts) != 3 {
		return nowhere()
	}
	name, good := decoded(parts[0])
	if !good {
		return nowhere()
	}
	found.spec.Name = name
	if len(parts) == 1 {
		return found, nil
	}
	switch parts[1] {
	case "versions":
		version, err := strconv.ParseUint(parts[2], 10, 63)
		if err != nil {
			return route{}, &problem{refusal: refusal.New(
				codes.InvalidArgument, "the path's version must be a whole number below 2^63, as in %s/NAME/versions/3", models,
			)}
		}
		number := int64(version)
		found.spec.Version = &number
	case "labels":
		label, good := decoded(parts[2])
		if !good {
			return nowhere()
		}
		found.spec.Label = &label
	default:
		return nowhere()
	}
	return found, nil
}

// decoded undoes the escapes of one part of a path, which must say something in UTF-8. An escaped slash or colon is
// part of a name.
func decoded(part string) (string, bool) {
	if strings.ContainsRune(part, ':') {
		return "", false
	}
	text, err := url.PathUnescape(part)
	return text, err == nil && text != "" && utf8.ValidString(text)
}

func nowhere() (route, *problem) {
	return route{}, &problem{status: http.StatusNotFound, refusal: refusal.New(
		codes.NotFound,
		"there is nothing at this path; models are at %s/NAME, with :predict, :classify or :regress for a POST", models,
	)}
}

// wire is the spec as gRPC has it.
func (s Spec) wire() *wire.ModelSpec {
	spec := &wire.ModelSpec{Name: s.Name}
	if s.Version != nil {
		spec.VersionChoice = &wire.ModelSpec_Version{Version: wrapperspb.Int64(*s.Version)}
	}
	if s.Label != nil {
		spec.VersionChoice = &wire.ModelSpec_VersionLabel{VersionLabel: *s.Label}
	}
	return spec
}
