package security

import (
	"errors"
	"io"
	"os"
	"syscall"
	"time"
)

// largestFile is far above every key or certificate file, and small enough to be read at any time.
const largestFile = 1 << 20

var (
	errNotRegular = errors.New("it is not a regular file")
	errTooLarge   = errors.New("it has more than 1 MiB")
)

// stamp tells two states of a file apart; the zero stamp is a file that is not there. The time of change is part of
// it since a copy can keep the time of modification, and since permissions are part of the state.
type stamp struct {
	device, inode   uint64
	size            int64
	modified, owned int64 // nanoseconds: of the content, of content or permissions
	mode            os.FileMode
	owner           uint32
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stampIn(info)
}

func stampIn(info os.FileInfo) stamp {
	found := stamp{size: info.Size(), modified: info.ModTime().UnixNano(), mode: info.Mode()}
	if status, ok := info.Sys().(*syscall.Stat_t); ok {
		found.device, found.inode, found.owner = uint64(status.Dev), status.Ino, status.Uid
		found.owned = status.Ctim.Nano()
	}
	return found
}

// settled is whether a further change will show in the stamp: not for a file that was changed a moment before `now`,
// since file systems count time in steps.
func (s stamp) settled(now time.Time, within time.Duration) bool {
	age := now.Sub(time.Unix(0, s.owned))
	return s == stamp{} || age < 0 || age >= within
}

// readFile is the content of a regular file of ordinary size, and the stamp it had when it was opened.
func readFile(path string) ([]byte, stamp, error) {
	// Without waiting for a writer, should the path be a pipe.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, stamp{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, stamp{}, err
	}
	if !info.Mode().IsRegular() {
		return nil, stamp{}, errNotRegular
	}
	content, err := io.ReadAll(io.LimitReader(file, largestFile+1))
	if err == nil && len(content) > largestFile {
		err = errTooLarge
	}
	return content, stampIn(info), err
}
