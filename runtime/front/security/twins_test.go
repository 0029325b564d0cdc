package security

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"accelform/front/settings"
)

// What accelform_runtime's Python writes is understood here. The folder comes from tests/unit/front/test_twins.py.
func TestPythonTwins(t *testing.T) {
	folder := os.Getenv("ACCELFORM_TWINS")
	if folder == "" {
		t.Skip("runs from tests/unit/front/test_twins.py")
	}
	for name, s := range map[string]settings.Service{
		"key":   {AuthEnabled: true, KeysFile: filepath.Join(folder, "keys.json")},
		"token": {TokenAuthEnabled: true, Name: "digits", TokenKeysFile: filepath.Join(folder, "tokens.pem")},
	} {
		_, log := newRecorder()
		guard, err := NewGuard(&settings.Settings{Service: s}, log)
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(filepath.Join(folder, name+"s"))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Fields(string(content))
		if len(lines) != 2 {
			t.Fatalf("%d %ss instead of two", len(lines), name)
		}
		for _, each := range lines {
			if refused := guard.Admit("Bearer " + each); refused != nil {
				t.Errorf("a %s is refused: %s", name, refused)
			}
		}
		if guard.Admit("Bearer "+lines[0]+"x") == nil {
			t.Errorf("a changed %s comes in", name)
		}
	}
}
