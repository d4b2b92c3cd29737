//go:build !unix

package main

import "errors"

const canPause = false

// pause is not possible here.
func (p *process) pause() error { return errors.ErrUnsupported }

// resume has nothing to do, since nothing is paused.
func (p *process) resume() error { return nil }
