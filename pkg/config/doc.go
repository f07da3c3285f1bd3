// Package config reads the one YAML file that says which workers and routes
// there are, finds a configuration when there is no file, writes it into the
// broker as the running configuration, and watches the file for changes.
package config
