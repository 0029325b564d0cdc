package service

import (
	"google.golang.org/grpc/codes"

	"accelform/front/device"
	"accelform/front/refusal"
	"accelform/front/wire"
)

func (s *Server) getModelStatus(_ *call, message *frame) (any, *refusal.Refusal) {
	var request wire.GetModelStatusRequest
	if refused := parse(message, &request, "GetModelStatusRequest"); refused != nil {
		return nil, refused
	}
	return s.Status(request.ModelSpec)
}

// Status tells the states of a model's versions, of one version where the spec names one.
func (s *Server) Status(spec *wire.ModelSpec) (*wire.GetModelStatusResponse, *refusal.Refusal) {
	if refused := s.checkName(spec); refused != nil {
		return nil, refused
	}
	var number *int64
	switch choice := spec.GetVersionChoice().(type) {
	case *wire.ModelSpec_Version:
		number = &choice.Version.Value
	case *wire.ModelSpec_VersionLabel:
		version, known := s.device.Labels()[choice.VersionLabel]
		if !known {
			return nil, unknownLabel(choice.VersionLabel)
		}
		number = &version
	}
	found, refused := s.device.Status(spec.GetName(), number)
	return &wire.GetModelStatusResponse{ModelVersionStatus: found}, refused
}

// handleReload swaps the resident model. As in TensorFlow Serving a refusal is the call's own status.
func (s *Server) handleReload(c *call, message *frame) (any, *refusal.Refusal) {
	var request wire.ReloadConfigRequest
	if refused := parse(message, &request, "ReloadConfigRequest"); refused != nil {
		return nil, refused
	}
	wanted, refused := wantedModel(request.Config)
	if refused == nil {
		refused = s.device.Swap(c.ctx, wanted)
	}
	return &wire.ReloadConfigResponse{Status: &wire.StatusProto{}}, refused
}

func wantedModel(config *wire.ModelServerConfig) (device.Wanted, *refusal.Refusal) {
	if config.GetModelConfigList() == nil {
		return device.Wanted{}, refusal.New(codes.InvalidArgument,
			"only a model_config_list can be loaded; send one with one model")
	}
	models := config.GetModelConfigList().Config
	if len(models) != 1 {
		return device.Wanted{}, refusal.New(codes.InvalidArgument,
			"the FPGA holds exactly one model; model_config_list has %d", len(models))
	}
	model := models[0]
	wanted := device.Wanted{Name: model.Name, Folder: model.BasePath, Labels: model.VersionLabels}
	if model.Name == "" || model.BasePath == "" {
		return wanted, refusal.New(codes.InvalidArgument, "a model config needs both name and base_path")
	}
	policy := model.ModelVersionPolicy
	if policy.GetAll() != nil || policy.GetLatest().GetNumVersions() > 1 || len(policy.GetSpecific().GetVersions()) > 1 {
		return wanted, refusal.New(codes.InvalidArgument,
			"the FPGA holds exactly one version; ask for the latest one or for one specific version")
	}
	if specific := policy.GetSpecific(); specific != nil {
		if len(specific.Versions) == 0 {
			return wanted, refusal.New(codes.InvalidArgument, "the specific version policy names no version")
		}
		wanted.Version = &specific.Versions[0]
	}
	return wanted, nil
}

// checkSpec holds a spec against the resident model.
func (s *Server) checkSpec(spec *wire.ModelSpec, name string, number int64) *refusal.Refusal {
	if refused := s.checkName(spec); refused != nil {
		return refused
	}
	if given := spec.GetName(); given != "" && given != name && given != s.settings.Name {
		return refusal.New(codes.NotFound, "model %q is not resident here; this service holds %q", given, name)
	}
	switch choice := spec.GetVersionChoice().(type) {
	case *wire.ModelSpec_Version:
		if choice.Version.GetValue() != number {
			return refusal.New(codes.NotFound, "version %d of %q is not resident; %d is",
				choice.Version.GetValue(), name, number)
		}
	case *wire.ModelSpec_VersionLabel:
		if _, known := s.device.Labels()[choice.VersionLabel]; !known {
			return unknownLabel(choice.VersionLabel)
		}
	}
	return nil
}

func (s *Server) checkName(spec *wire.ModelSpec) *refusal.Refusal {
	if s.settings.StrictModelSpec && spec.GetName() == "" {
		return refusal.New(codes.InvalidArgument,
			"the model_spec names no model; name one, or turn strict_model_spec off")
	}
	return nil
}

func unknownLabel(label string) *refusal.Refusal {
	return refusal.New(codes.InvalidArgument, "version label %q is not known; name a version or none", label)
}
