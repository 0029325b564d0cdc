package intake

import (
	"io"
	"runtime"
)

// atOnce is how much of a packed message is unpacked at once; what makes more than that takes turns with others like it.
const atOnce = 1 << 20

// turns leave a processor to the model, and to messages that are short.
var turns = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))

// Unpacking is a source that makes much of little, which costs nothing to send. What it unpacks has to be there as a
// whole: nobody may wait for a peer while it is his turn.
type Unpacking struct {
	source io.Reader
	made   int
}

// Unpack reads from what unpacks a message.
func Unpack(source io.Reader) *Unpacking { return &Unpacking{source: source} }

// Read waits for a turn once the message is long.
func (u *Unpacking) Read(into []byte) (int, error) {
	if u.made > atOnce {
		turns <- struct{}{}
		defer func() { <-turns }()
	}
	count, err := u.source.Read(into)
	u.made += count
	return count, err
}
