package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// process is a service in a process of its own: this binary, executed again.
// It is told what to do on its standard input, and ends when that does. One
// goroutine at a time may use it.
type process struct {
	service, version string
	// zone is where it would run if there were more than one machine.
	zone string
	seed uint64
	// alerts is the URL that alerts of its mesh go to, "" for none.
	alerts string
	// cert and key are the files of its certificate, "" for none.
	cert, key string
	// addr is where it listens, again after a restart; debug is where its
	// mesh can be looked at.
	addr, debug string
	settings    settings

	cmd     *exec.Cmd
	stdin   io.WriteCloser
	replies chan reply
	orders  int
	// ended is closed when there is no such process any more, err says why.
	ended chan struct{}
	err   error
}

// patience is how long a process may take to start or to obey.
const patience = 10 * time.Second

// serviceCommand is the first argument of a service's process.
const serviceCommand = "service"

// start runs the process and waits until it listens.
func (p *process) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p.cmd = exec.Command(self, serviceCommand, "-name", p.service, "-version", p.version, "-zone", p.zone,
		"-addr", p.addr, "-seed", strconv.FormatUint(p.seed, 10), "-alerts", p.alerts,
		"-cert", p.cert, "-key", p.key)
	p.cmd.Stderr = os.Stderr
	endWithParent(p.cmd)
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.replies, p.ended = make(chan reply, 8), make(chan struct{})
	go p.follow(p.cmd, stdout, p.replies, p.ended)

	hello, err := p.reply(ctx, 0)
	if err == nil && hello.Error != "" {
		err = fmt.Errorf("%s: %s", p, hello.Error)
	}
	if err != nil {
		p.kill()
		return err
	}
	p.addr, p.debug = hello.Addr, hello.Debug
	return nil
}

// follow hands on what the process says until it has ended.
func (p *process) follow(cmd *exec.Cmd, stdout io.Reader, replies chan<- reply, ended chan<- struct{}) {
	for in := json.NewDecoder(stdout); ; {
		var r reply
		if in.Decode(&r) != nil {
			break
		}
		select {
		case replies <- r:
		default: // nobody waits for what is this late
		}
	}
	p.err = cmd.Wait()
	close(ended)
}

// order has the process take over settings. If it refuses them it goes on
// with those it had.
func (p *process) order(ctx context.Context, s settings) error {
	p.settings = s
	_, err := p.say(ctx, order{Settings: &s})
	return err
}

// requests asks the process how many requests it has had since it started.
func (p *process) requests(ctx context.Context) (uint64, error) {
	r, err := p.say(ctx, order{})
	return r.Requests, err
}

// say gives the process an order and waits for the reply. If it says nothing
// it is killed, since it is paused or broken and nobody knows what it does now.
func (p *process) say(ctx context.Context, o order) (reply, error) {
	p.orders++
	o.Number = p.orders
	line, err := json.Marshal(o)
	if err != nil {
		return reply{}, err
	}
	if _, err := p.stdin.Write(line); err != nil {
		return reply{}, fmt.Errorf("%s: %w", p, err)
	}
	r, err := p.reply(ctx, p.orders)
	switch {
	case err != nil && ctx.Err() == nil:
		p.kill()
	case r.Error != "":
		err = fmt.Errorf("%s: %s", p, r.Error)
	}
	return r, err
}

// reply waits for the reply of a number.
func (p *process) reply(ctx context.Context, number int) (reply, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case r := <-p.replies:
			if r.Number == number {
				return r, nil
			}
		case <-p.ended:
			select {
			case r := <-p.replies: // its last word
				if r.Number == number {
					return r, nil
				}
			default:
				return reply{}, fmt.Errorf("%s has ended", p)
			}
		case <-timer.C:
			return reply{}, fmt.Errorf("%s says nothing for %v", p, patience)
		case <-ctx.Done():
			return reply{}, ctx.Err()
		}
	}
}

// running reports whether there still is such a process.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// leave lets the process end by itself.
func (p *process) leave() { _ = p.stdin.Close() }

// quit tells the process to stop, as those who run services do, and waits
// until it has: it takes leave of its callers first.
func (p *process) quit(ctx context.Context) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.ended:
		_ = p.stdin.Close()
		return p.err
	case <-timer.C:
		return fmt.Errorf("%s does not stop within %v", p, patience)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kill ends the process, paused or not, and waits until it has ended. That
// it may have ended already is no error.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
	_ = p.stdin.Close()
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) String() string {
	return fmt.Sprintf("%s %s (pid %d, %s)", p.service, p.version, p.pid(), p.addr)
}
