// Package bus is the broker as the rest of Understudy sees it: durable queues
// made of lanes, buckets, and core messages. It is the only package that
// imports NATS; a server of its own can run inside the process, or a remote
// one is used.
package bus
