package archtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadme holds the program in the README to the one that is run.
func TestReadme(t *testing.T) {
	root := filepath.Join("..", "..")
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(filepath.Join(root, "examples", "quickstart", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```go\n"+string(program)+"```\n") {
		t.Error("README.md does not show examples/quickstart/main.go as it is")
	}
	if lines := strings.Count(string(program), "\n"); lines >= 40 {
		t.Errorf("examples/quickstart/main.go has %d lines, which are 40 or more", lines)
	}
}
