package gateway

import "net/http"

// alive serves GET /healthz: the process answers.
func (g *Gateway) alive(x *exchange, _ *http.Request) {
	x.json(http.StatusOK, map[string]string{"status": "ok"})
}

// ready serves GET /readyz: requests can be taken, or why not.
func (g *Gateway) ready(x *exchange, _ *http.Request) {
	reasons := []string{}
	if !g.bus.Connected() {
		reasons = append(reasons, "the broker is out of reach")
	}
	if len(g.directory.now.Load().routes) == 0 {
		reasons = append(reasons, "no route is known yet")
	}
	status := http.StatusOK
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
	}
	x.json(status, struct {
		Ready   bool     `json:"ready"`
		Reasons []string `json:"reasons"`
	}{len(reasons) == 0, reasons})
}
