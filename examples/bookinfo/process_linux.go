package main

import (
	"os"
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

// untilStopped waits until a child that has been sent SIGSTOP has come to a
// standstill. One of its threads has to get a processor first, and until then
// the others may answer whoever asks. A child that has ended is an error.
func untilStopped(pid int) error {
	const only, stopped, leaveIt = 1, 0x2, 0x01000000 // P_PID, WSTOPPED, WNOWAIT
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, only, uintptr(pid), 0, stopped|leaveIt, 0, 0)
		switch errno {
		case 0:
			return nil
		case syscall.EINTR:
		default:
			return os.NewSyscallError("waitid", errno)
		}
	}
}
