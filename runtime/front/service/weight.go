package service

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"accelform/front/refusal"
	"accelform/front/wire"
)

// mostParts is how many messages, strings and lists a request may have within it: enough for as many examples as the
// worker takes in one call. To parse one takes some fifty bytes and a microsecond, however few bytes it has on the wire:
// 16 MiB may hold eight million of them.
const mostParts = 512 << 10

// weighed are the requests that the worker parses.
var weighed = map[string]protoreflect.MessageDescriptor{
	"Predict":        (*wire.PredictRequest)(nil).ProtoReflect().Descriptor(),
	"Classify":       (*wire.ClassificationRequest)(nil).ProtoReflect().Descriptor(),
	"Regress":        (*wire.RegressionRequest)(nil).ProtoReflect().Descriptor(),
	"MultiInference": (*wire.MultiInferenceRequest)(nil).ProtoReflect().Descriptor(),
}

// weigh refuses a request that would cost much more than its bytes. What is no message it leaves to who parses it.
func weigh(method string, data mem.BufferSlice) *refusal.Refusal {
	s := scan{rest: data}
	if s.message(weighed[method], data.Len(), 0); s.parts <= mostParts {
		return nil
	}
	return refusal.New(codes.InvalidArgument,
		"the request has more than %d messages, strings and lists within it; send fewer of them at once", mostParts)
}

// scan walks through a message's fields without keeping any.
type scan struct {
	rest  mem.BufferSlice
	at    int // in the first buffer of the rest
	read  int // in all
	parts int
	over  bool // what is left is no message, or does not matter
}

// deepest is protobuf's own bound on messages within messages.
const deepest = 100

func (s *scan) message(of protoreflect.MessageDescriptor, end, depth int) {
	for s.read < end && !s.over {
		tag := s.varint()
		switch protowire.Type(tag & 7) {
		case protowire.VarintType:
			s.varint()
		case protowire.Fixed32Type:
			s.skip(4)
		case protowire.Fixed64Type:
			s.skip(8)
		case protowire.BytesType:
			length := s.varint()
			if s.part(); s.over || s.read > end || length > uint64(end-s.read) {
				s.over = true
				return
			}
			inner := within(of, tag>>3)
			if inner == nil || depth == deepest {
				s.skip(int(length))
			} else {
				s.message(inner, s.read+int(length), depth+1)
			}
		case protowire.StartGroupType:
			s.part()
		case protowire.EndGroupType:
		default:
			s.over = true
		}
	}
}

func (s *scan) part() {
	if s.parts++; s.parts > mostParts {
		s.over = true
	}
}

// within is the type of a field that is a message; nil: it is none, or unknown.
func within(of protoreflect.MessageDescriptor, number uint64) protoreflect.MessageDescriptor {
	if number > uint64(protowire.MaxValidNumber) {
		return nil
	}
	field := of.Fields().ByNumber(protowire.Number(number))
	if field == nil {
		return nil
	}
	return field.Message()
}

func (s *scan) varint() (found uint64) {
	for shift := 0; shift < 64 && !s.over; shift += 7 {
		next := s.next()
		if found |= uint64(next&0x7f) << shift; next < 0x80 {
			return found
		}
	}
	s.over = true
	return 0
}

func (s *scan) next() byte {
	for len(s.rest) > 0 && s.at == s.rest[0].Len() {
		s.rest, s.at = s.rest[1:], 0
	}
	if len(s.rest) == 0 {
		s.over = true
		return 0
	}
	s.at++
	s.read++
	return s.rest[0].ReadOnlyData()[s.at-1]
}

func (s *scan) skip(count int) {
	s.read += count
	for count > 0 && len(s.rest) > 0 {
		passed := min(count, s.rest[0].Len()-s.at)
		s.at += passed
		if count -= passed; s.at == s.rest[0].Len() {
			s.rest, s.at = s.rest[1:], 0
		}
	}
	s.over = s.over || count > 0
}
