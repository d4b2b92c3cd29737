// Package sim simulates fleets: servers, the processes that call them, and the
// load reports that go back. It is where balancing policies are compared.
package sim
