// Package diagnosis says what is wrong with a worker: is its provider down, is
// it our account, are we throttled, is our own network cut, is it slow, or is
// our configuration wrong? It weighs the kinds of failure, the last probe, what
// other workers see from the same network, and the provider's status page,
// which corroborates and never decides.
//
// The package only decides: Collect picks the evidence, Decide weighs it.
// Neither keeps state nor touches the network.
package diagnosis
