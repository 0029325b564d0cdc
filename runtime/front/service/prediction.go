package service

import (
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"accelform/front/device"
	"accelform/front/refusal"
	"accelform/front/wire"
	"accelform/front/worker"
)

const (
	exactnessKey   = "x-accelform-exactness"
	certificate    = "certificate"
	signatureField = "signature_def"
	// labelsField is ours: a model's labels, as a google.protobuf.ListValue of strings.
	labelsField = "accelform_labels"
)

// score hands a call's message to the resident model as it is.
func (s *Server) score(c *call, message *frame) (any, *refusal.Refusal) {
	certified, refused := asksForCertificate(c.headers)
	if refused != nil {
		message.data.Free()
		return nil, refused
	}
	if refused := weigh(c.method, message.data); refused != nil {
		message.data.Free()
		return nil, refused
	}
	c.intake.Admitted() // the line has its own bound
	answer, refused := s.device.Score(c.ctx, device.Call{
		Method: c.method, Message: message.data, Certified: certified, From: c.intake.From(),
		Arrived: c.arrived, Waiting: c.sendHeader,
	})
	if refused != nil {
		return nil, refused
	}
	trailer := make([]string, 0, 2*len(answer.Trailing))
	for _, pair := range answer.Trailing {
		trailer = append(trailer, pair[0], pair[1])
	}
	c.stream.SetTrailer(metadata.Pairs(trailer...))
	for name, value := range answer.Log {
		c.fields = append(c.fields, name, value)
	}
	answer.Observe(&c.observed)
	s.traces.Describe(c.ctx, c.observed)
	return &frame{answer.Body}, nil
}

// sendHeader tells a caller who has to wait that the call is in, and under which id. A quick answer brings the header
// along, which saves a packet on either side.
func (c *call) sendHeader() { _ = c.stream.SendHeader(nil) }

func asksForCertificate(headers metadata.MD) (bool, *refusal.Refusal) {
	wishes := headers.Get(exactnessKey)
	if len(wishes) == 0 {
		return false, nil
	}
	if wishes[0] != certificate {
		return false, refusal.New(codes.InvalidArgument,
			"metadata %s must be '%s', or be left out", exactnessKey, certificate)
	}
	return true, nil
}

// getModelMetadata answers from what the worker told when it loaded the model.
func (s *Server) getModelMetadata(_ *call, message *frame) (any, *refusal.Refusal) {
	var request wire.GetModelMetadataRequest
	if refused := parse(message, &request, "GetModelMetadataRequest"); refused != nil {
		return nil, refused
	}
	if len(request.MetadataField) == 0 {
		return nil, refusal.New(codes.InvalidArgument, "metadata_field is empty; ask for %q", signatureField)
	}
	for _, field := range request.MetadataField {
		if field != signatureField && field != labelsField {
			return nil, refusal.New(codes.InvalidArgument,
				"metadata field %q is not supported; %q is", field, signatureField)
		}
	}
	about := s.device.About()
	found, refused := s.metadata(about, request.ModelSpec)
	if refused != nil || !slices.Contains(request.MetadataField, labelsField) {
		return found, refused
	}
	if !slices.Contains(request.MetadataField, signatureField) {
		clear(found.Metadata)
	}
	labels := &structpb.ListValue{}
	for _, label := range about.Labels {
		labels.Values = append(labels.Values, structpb.NewStringValue(label))
	}
	packed, err := anypb.New(labels)
	if err != nil {
		return nil, refusal.Internal(err.Error())
	}
	found.Metadata[labelsField] = packed
	return found, nil
}

// Metadata is the resident model's signature, for a model spec that fits it.
func (s *Server) Metadata(spec *wire.ModelSpec) (*wire.GetModelMetadataResponse, *refusal.Refusal) {
	return s.metadata(s.device.About(), spec)
}

func (s *Server) metadata(about *worker.About, spec *wire.ModelSpec) (*wire.GetModelMetadataResponse, *refusal.Refusal) {
	if about == nil {
		return nil, device.Loading()
	}
	if refused := s.checkSpec(spec, about.Name, about.Version); refused != nil {
		return nil, refused
	}
	var signature wire.SignatureDefMap
	if err := proto.Unmarshal(about.SignatureDefMap, &signature); err != nil {
		return nil, refusal.Internal("the worker's signature is damaged: " + err.Error())
	}
	packed, err := anypb.New(&signature)
	if err != nil {
		return nil, refusal.Internal(err.Error())
	}
	return &wire.GetModelMetadataResponse{
		ModelSpec: &wire.ModelSpec{
			Name:          about.Name,
			VersionChoice: &wire.ModelSpec_Version{Version: wrapperspb.Int64(about.Version)},
		},
		Metadata: map[string]*anypb.Any{signatureField: packed},
	}, nil
}

func parse(message *frame, into proto.Message, name string) *refusal.Refusal {
	defer message.data.Free()
	if err := proto.Unmarshal(message.data.Materialize(), into); err != nil {
		return refusal.New(codes.InvalidArgument, "the message is not a %s", name)
	}
	return nil
}
