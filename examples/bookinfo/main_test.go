package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// parentCommand makes this binary the parent of a fleet, for a test to kill.
const parentCommand = "parent"

// TestMain lets the test binary be what bookinfo's own is: the program of
// every process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == serviceCommand {
		main()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == parentCommand {
		parent()
		return
	}
	os.Exit(m.Run())
}

// newFleet starts a fleet that ends with the test.
func newFleet(t *testing.T) *fleet {
	runtime.LockOSThread()
	f, err := startFleet(t.Context(), 0, 1, 5*time.Second)
	require.NoError(t, err)
	t.Cleanup(func() {
		f.stop()
		runtime.UnlockOSThread()
	})
	return f
}

// newProcess starts one process, which ends with the test.
func newProcess(t *testing.T, service, version string) *process {
	runtime.LockOSThread()
	p := &process{service: service, version: version, addr: "127.0.0.1:0"}
	require.NoError(t, p.start(t.Context()))
	t.Cleanup(func() {
		if p.running() {
			p.kill()
		}
		runtime.UnlockOSThread()
	})
	return p
}

// parent starts a fleet, says so and waits to be killed.
func parent() {
	runtime.LockOSThread()
	f, err := startFleet(context.Background(), 0, 0, time.Second)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(f.processes[1].pid())
	// A test that dies first ends it, too.
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func TestChoose(t *testing.T) {
	all, err := choose("")
	require.NoError(t, err)
	require.Len(t, all, 14)
	one, err := choose("shifting")
	require.NoError(t, err)
	require.Len(t, one, 1)
	require.Equal(t, "traffic shifting", one[0].title)
	_, err = choose("nonesuch")
	require.ErrorContains(t, err, `no task "nonesuch"`)
}
