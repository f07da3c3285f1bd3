// Package app is what every process of Understudy has in common: a logger,
// settings from the environment, an end on SIGTERM, and parts that start in
// order and stop in the opposite one.
package app
