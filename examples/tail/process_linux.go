package main

import (
	"os/exec"
	"syscall"
)

// endWithParent has the kernel end the process with this one, even while it
// is paused and cannot see its standard input end. The kernel takes the
// thread that starts the process for its parent, so the caller's goroutine
// should be locked to a thread that lasts.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
