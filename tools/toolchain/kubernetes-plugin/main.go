// The resource plugin of pulumi-kubernetes, from its published provider package: its own command is not in a module
// that can be fetched. The schema is only asked for when an SDK is generated, so a name and a version are enough.
package main

import (
	"fmt"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
)

// Set by the linker to the version that pyproject.toml pins.
var version = "0.0.0"

func main() {
	schema := fmt.Sprintf(`{"name": "kubernetes", "version": %q}`, version)
	provider.Serve("kubernetes", version, []byte(schema), []byte("{}"))
}
