package service

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"accelform/front/wire"
)

// pieces cuts a message as it may come from the wire.
func pieces(message []byte, size int) mem.BufferSlice {
	var cut mem.BufferSlice
	for len(message) > 0 {
		length := min(size, len(message))
		cut = append(cut, mem.SliceBuffer(message[:length]))
		message = message[length:]
	}
	return cut
}

func field(number protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), content)
}

// dims is a Predict of a tensor with that many sizes.
func dims(count int) []byte {
	shape := bytes.Repeat(field(2, nil), count)
	entry := append(field(1, []byte("images")), field(2, field(2, shape))...)
	return field(2, entry)
}

func TestMessagesOfManyPartsAreRefusedWhereverTheyAre(t *testing.T) {
	for name, sample := range map[string]struct {
		method  string
		message []byte
		heavy   bool
	}{
		"nothing":        {"Predict", nil, false},
		"a few sizes":    {"Predict", dims(4), false},
		"many sizes":     {"Predict", dims(mostParts), true},
		"many inputs":    {"Predict", bytes.Repeat(field(2, nil), mostParts+1), true},
		"many names":     {"Predict", bytes.Repeat(field(3, nil), mostParts+1), true},
		"as many as may": {"Predict", bytes.Repeat(field(3, nil), mostParts), false},
		"many unknown":   {"Predict", bytes.Repeat(field(99, nil), mostParts+1), true},
		"many groups":    {"Predict", bytes.Repeat([]byte{0x0b}, mostParts+1), true},
		"many tasks":     {"MultiInference", bytes.Repeat(field(1, nil), mostParts+1), true},
		"many examples":  {"Classify", field(2, field(1, bytes.Repeat(field(1, nil), mostParts+1))), true},
		"many numbers":   {"Predict", bytes.Repeat([]byte{0x08, 1}, 4*mostParts), false},
		"a long text":    {"Regress", field(1, make([]byte, 16<<20)), false},
	} {
		for _, size := range []int{7, 16 << 10} {
			if refused := weigh(sample.method, pieces(sample.message, size)); (refused != nil) != sample.heavy {
				t.Errorf("%s in pieces of %d: %v", name, size, refused)
			}
		}
	}
}

// FuzzWeigh ends for every message, and counts no good one wrong.
func FuzzWeigh(f *testing.F) {
	good, _ := proto.Marshal(&wire.MultiInferenceRequest{Tasks: []*wire.InferenceTask{{MethodName: "x"}}})
	f.Add(good)
	f.Add(dims(3))
	f.Add([]byte{0x12, 0x03, 0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, message []byte) {
		for method := range weighed {
			if refused := weigh(method, pieces(message, 5)); refused != nil && len(message) <= mostParts {
				t.Errorf("%x is %v", message, refused)
			}
		}
	})
}

func BenchmarkWeigh(b *testing.B) {
	message := field(2, append(field(1, []byte("images")), field(2, field(4, make([]byte, 600<<10)))...))
	data := pieces(message, 16<<10)
	b.ReportAllocs()
	for b.Loop() {
		if weigh("Predict", data) != nil {
			b.Fatal("an image is refused")
		}
	}
}
