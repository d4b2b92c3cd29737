//go:build unix

package main

import "syscall"

// pause has the process hang: what connects to it is accepted by the kernel
// and hears nothing. Until it is resumed it obeys no order, kill excepted.
func (p *process) pause() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return untilStopped(p.pid())
}

// resume lets a paused process go on with whatever came in meanwhile.
func (p *process) resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }
