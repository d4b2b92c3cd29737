package sim

import "fmt"

// end stops what is still under way at the servers, for callers no longer
// wait, and returns what does not add up.
func (f *Fleet) end() error {
	if t := &f.tally; t.ends != t.out.All {
		return fmt.Errorf("%d calls have ended %d times", t.out.All, t.ends)
	}
	for _, c := range f.callers {
		if err := c.audit(); err != nil {
			return err
		}
	}
	for n := range f.servers {
		if f.servers[n].state != gone {
			f.Crash(n)
		}
		f.collect()
	}
	// What is on its way comes to nothing.
	for len(f.events.heap) > 0 {
		if e := f.events.pop(); e.kind == request || e.kind == failure || e.kind == answer {
			f.happen(e)
		}
	}
	f.visits.Wait()
	for _, s := range f.servers {
		if err := s.audit(); err != nil {
			return err
		}
	}
	return nil
}

// audit returns what does not add up at a caller for which all calls have
// ended.
func (c *Caller) audit() error {
	for n, e := range c.endpoints {
		if e == nil {
			continue
		}
		if in := e.InFlight(); in != 0 {
			return fmt.Errorf("caller %d, server %d: %d calls in flight at the end", c.index, n, in)
		}
		if all := e.Counts(); all.OK+all.Failed != all.Started {
			return fmt.Errorf("caller %d, server %d: %d calls went well and %d failed of %d", c.index, n, all.OK, all.Failed, all.Started)
		}
	}
	return nil
}

// audit returns what does not add up at a server that has been stopped.
func (s *server) audit() error {
	if s.assigned != 0 || s.inside != 0 {
		return fmt.Errorf("server %d: %d calls are assigned and %d in at the end", s.index, s.assigned, s.inside)
	}
	if g := s.guard.Stats(); g.InFlight != 0 || g.Waiting != 0 {
		return fmt.Errorf("server %d: %d requests hold places and %d wait for one at the end", s.index, g.InFlight, g.Waiting)
	}
	return nil
}
