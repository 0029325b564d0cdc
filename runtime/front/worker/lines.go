package worker

import (
	"bufio"
	"bytes"
	"io"
)

// longestLine is far above every line that a worker writes; what is beyond it stands on a line of its own.
const longestLine = 256 << 10

// hear gives `say` each line until `from` ends, which closes the result. The line is `say`'s to keep.
func hear(from io.ReadCloser, say func(line []byte)) <-chan struct{} {
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer from.Close()
		reader := bufio.NewReader(from)
		var line []byte
		for {
			part, err := reader.ReadSlice('\n')
			line = append(line, part...)
			if (err != nil && err != bufio.ErrBufferFull || len(line) >= longestLine) && len(line) > 0 && !bytes.HasSuffix(line, []byte{'\n'}) {
				line = append(line, '\n')
			}
			if bytes.HasSuffix(line, []byte{'\n'}) {
				say(line)
				line = nil
			}
			if err != nil && err != bufio.ErrBufferFull {
				return
			}
		}
	}()
	return over
}
