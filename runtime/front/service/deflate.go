package service

import (
	"compress/zlib"
	"io"
	"sync"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress
)

func init() { encoding.RegisterCompressor(deflate{}) }

// deflate is gRPC's compression of that name, which is zlib's format (RFC 1950); grpc-go brings gzip only.
type deflate struct{}

func (deflate) Name() string { return "deflate" }

var packers = sync.Pool{New: func() any { return zlib.NewWriter(io.Discard) }}

// Compress packs what is written until Close.
func (deflate) Compress(into io.Writer) (io.WriteCloser, error) {
	packer := packers.Get().(*zlib.Writer)
	packer.Reset(into)
	return &packing{packer}, nil
}

type packing struct{ *zlib.Writer }

func (p *packing) Close() error {
	defer packers.Put(p.Writer)
	return p.Writer.Close()
}

// Decompress reads what was packed.
func (deflate) Decompress(from io.Reader) (io.Reader, error) { return zlib.NewReader(from) }
