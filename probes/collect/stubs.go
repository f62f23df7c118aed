package collect

import "lvstui/lvs"

func (c *collector) readNetfilter() { c.gap(lvs.SourceNetfilter, "not read yet") }
