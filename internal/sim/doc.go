// Package sim simulates fleets: servers, the processes that call them, and the
// load reports that go back. It is where balancing policies are compared, and
// where it is proven what they promise for fleets that no test could start.
//
// A Scenario is run in a testing/synctest bubble by one loop of events that
// sleeps from each to the next, so that the clock of the real code shows the
// time of the simulation. What chooses and what reports is that code, made by
// the constructors that the mesh uses: each caller has its own endpoints with
// their controls and its own balancer.Spreader, each server its own
// overload.Guard. A report is written as text where the answer is, and is read
// from it where the answer arrives. The order of what happens to an attempt is
// that of the mesh: the report is taken over, then the endpoint counts, then
// the policy observes, then the call is no longer in flight.
//
// With the same seed a run has the same result, and a run with another Chooser
// meets the same calls, work and spells.
//
//	r := sim.Scenario{
//		Seed:    1,
//		Servers: sim.Servers(20, sim.Server{Sharing: true}),
//		Callers: 200,
//		Load:    .85,
//		Chooser: sim.Balanced{Policy: balancer.PeakEWMA{}},
//	}.Run(t)
//	t.Log(r.P99, r.ErrorShare())
//
// # What is modelled
//
// Servers with several workers, first come first served or shared by all
// requests (processor sharing); uneven and changing speeds; servers that fail
// fast, hang, crash, restart, warm up, join, are held and come back; reports
// that get lost, are old, are missing, are garbage or lie; messages that take
// time; callers that give up, and servers that stop work for which nobody
// waits, or do not. Calls come by chance, whether others have been answered or
// not, and evenly from all callers.
//
// # What is not
//
//   - Retries, hedges, breakers, outlier detection and health checks: a call
//     is one attempt, and a server is held only where the scenario says so, by
//     all callers at once.
//   - Connections: they cost nothing and are never full. A call to a server
//     that has crashed is refused, it does not wait.
//   - Bodies: an answer is whole with its headers, so there are no trailers
//     and no late results.
//   - Deadlines: servers do not know how long callers wait.
//   - The cost of the mesh itself, of reports and of probes. Messages are
//     delayed, but neither lost nor queued.
//   - Callers that differ in how much they call, or that call in bursts, and
//     requests that differ by kind.
//   - What else makes servers slow: memory, locks, garbage collection, other
//     servers behind them. Spells stand for all of these.
//   - The use of processors is that of workers: it does not show spells.
//
// Figures are therefore for comparing policies with each other and with what
// is possible (see Central), not for promising milliseconds.
package sim
