//go:build unix

package main

import "syscall"

const canPause = true

// pause has the process hang: what connects to it is accepted by the kernel
// and hears nothing.
func (p *process) pause() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// resume lets a paused process go on with whatever came in meanwhile.
func (p *process) resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }
