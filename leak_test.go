package tulle_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails the run if a mesh has left a goroutine behind. Bubbles see to
// that themselves; this is for the tests over real sockets.
func TestMain(m *testing.M) {
	code := m.Run()
	var left []string
	for deadline := time.Now().Add(5 * time.Second); code == 0 && time.Now().Before(deadline); runtime.Gosched() {
		if left = leftovers(); len(left) == 0 {
			break
		}
	}
	if len(left) > 0 {
		fmt.Printf("goroutines left behind:\n%s\n", strings.Join(left, "\n\n"))
		code = 1
	}
	os.Exit(code)
}

// leftovers returns the stacks of goroutines that run code of the module.
func leftovers() (left []string) {
	buf := make([]byte, 1<<20)
	for i, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if i > 0 && strings.Contains(stack, "github.com/tulle-mesh/tulle") {
			left = append(left, stack)
		}
	}
	return left
}
