package device

import (
	"accelform/front/refusal"
	"accelform/front/wire"
)

// mostVersions bounds what GetModelStatus remembers of versions that are gone.
const mostVersions = 16

type version struct {
	name    string
	number  int64
	state   wire.ModelVersionStatus_State
	problem *refusal.Refusal
}

// versions is the history of what was, is and will be resident, newest last. The caller holds the device's lock.
type versions []version

func (v *versions) set(name string, number int64, state wire.ModelVersionStatus_State, problem *refusal.Refusal) {
	kept := (*v)[:0]
	for _, known := range *v {
		if known.name != name || known.number != number {
			kept = append(kept, known)
		}
	}
	if len(kept) >= mostVersions {
		kept = kept[1:]
	}
	*v = append(kept, version{name, number, state, problem})
}

// of is the history of one model; an empty list: it was never here.
func (v versions) of(name string, number *int64) []*wire.ModelVersionStatus {
	var found []*wire.ModelVersionStatus
	for _, known := range v {
		if known.name != name || number != nil && known.number != *number {
			continue
		}
		status := &wire.StatusProto{}
		if known.problem != nil {
			status.ErrorCode = wire.Code(known.problem.Code)
			status.ErrorMessage = known.problem.Message
		}
		found = append(found, &wire.ModelVersionStatus{Version: known.number, State: known.state, Status: status})
	}
	return found
}
