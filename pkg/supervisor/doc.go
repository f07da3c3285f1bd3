// Package supervisor decides who owns which lane. It watches the health of the
// workers, moves lanes to the next healthy worker of their chain and back by
// slow start, keeps each move as an event with its reason, and ends requests
// whose deadline passed while nobody held them.
//
// Any number may run; one leads, by a lease. Dispatch goes on without any: the
// last table of owners stands.
package supervisor
