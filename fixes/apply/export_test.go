package apply

// At has f called at every place where the kernel or the journal is about to change or has changed.
func (a *Applier) At(f func(place string)) { a.at = f }
