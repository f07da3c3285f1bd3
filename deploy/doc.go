// Package deploy holds what is needed to run Understudy somewhere: settings,
// broker configuration, units and images. It has no code but its tests.
package deploy
