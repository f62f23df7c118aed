package collect

import "lvstui/lvs"

func (c *collector) counters()      {}
func (c *collector) readSockets()   {}
func (c *collector) socketClients() {}
func (c *collector) readNetfilter() { c.gap(lvs.SourceNetfilter, "not read yet") }
func (c *collector) readOwners()    {}
func (c *collector) readSession()   {}
