// Package memnet is a network inside one process whose connections behave as
// TCP connections do: buffered both ways, with deadlines, half close, resets
// and refused dials.
//
// It exists for tests that run in a testing/synctest bubble, where real
// sockets cannot be used because waiting for them is not durable. Everything
// here waits on condition variables, channels and timers alone; created inside
// a bubble, a network lets the bubble's clock advance while its users wait,
// and its latency is virtual time. Outside a bubble it works in real time.
//
// Two simplifications are deliberate. Nothing is ever lost or reordered, and a
// writer learns at once, not after the latency, that its peer has closed.
package memnet
