package fake

// models lists the models.
func (c *call) models() {
	list := modelList{Object: "list"}
	for _, id := range c.p.options.Models {
		list.Data = append(list.Data, model{ID: id, Object: "model", OwnedBy: c.p.options.Name})
	}
	writeJSON(c.w, list)
}
