package worker

// LoadMeta tells a new worker which model to load, and how.
type LoadMeta struct {
	ModelDir             string           `json:"model_dir"`
	BundleSHA256         string           `json:"bundle_sha256"` // of its description, hex; empty: any
	Threads              int              `json:"threads"`
	Engine               string           `json:"engine"`
	Service              string           `json:"service"`
	StrictModelSpec      bool             `json:"strict_model_spec"`
	TensorContentReplies bool             `json:"tensor_content_replies"`
	VersionLabels        map[string]int64 `json:"version_labels"`
	// Beside another model that serves, loading shall leave it the processors.
	Beside bool `json:"beside"`
}

// About is what a worker says of the model it has loaded.
type About struct {
	Name         string  `json:"name"`
	Version      int64   `json:"version"`
	Engine       string  `json:"engine"`
	EngineReason string  `json:"engine_reason"`
	Threads      int     `json:"threads"`
	LoadMs       float64 `json:"load_ms"`
	NumberFormat string  `json:"number_format"`
	Bitstream    string  `json:"bitstream"`
	LatencyMs    float64 `json:"latency_ms"`
	OccupancyMs  float64 `json:"occupancy_ms"`
	TakesImages  bool    `json:"takes_images"`
	PID          int     `json:"pid"`
	// Labels are the classes' names in the order of the model's output; nil where it has none.
	Labels []string `json:"labels"`
	// SignatureDefMap is the body of the answer, serialised.
	SignatureDefMap []byte `json:"-"`
}

// Spec names a model where the message itself does not, as over HTTP.
type Spec struct {
	Name    string  `json:"name"`
	Version *int64  `json:"version"`
	Label   *string `json:"label"`
}

// RunMeta goes with a call's message.
type RunMeta struct {
	Method    string   `json:"method"`
	WaitedMs  float64  `json:"waited_ms"`
	LeftMs    *float64 `json:"left_ms"`
	Certified bool     `json:"certified"`
	Spec      *Spec    `json:"spec,omitempty"`
}

// Modelled are the times that the emulated FPGA would have taken for a call.
type Modelled struct {
	LatencyMs   float64 `json:"latency_ms"`
	QueueMs     float64 `json:"queue_ms"`
	OccupancyMs float64 `json:"occupancy_ms"`
}

// DoneMeta goes with a reply.
type DoneMeta struct {
	Trailing [][2]string    `json:"trailing"`
	Log      map[string]any `json:"log"`
	Modelled Modelled       `json:"modelled"`
	Images   int            `json:"images"`
}

// ProgressMeta tells how far a call of several images is.
type ProgressMeta struct {
	Done  int `json:"done"`
	Total int `json:"total"`
}

// RefusedMeta says why a call has no answer; Code is the name of a gRPC status code.
type RefusedMeta struct {
	Code    string `json:"code"`
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

// FailedMeta says why a model cannot be loaded.
type FailedMeta struct {
	Kind     string `json:"kind"`
	Message  string `json:"message"`
	ExitCode int    `json:"exit_code"`
}
