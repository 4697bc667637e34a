use crate::Journey;
pub(crate) const JOURNEYS: &[(&str, Journey)] = &[];
