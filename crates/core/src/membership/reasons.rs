//! Why a speaker does not answer on a link.

use super::Standing;
use crate::reason::Reason;
use std::{borrow::Cow, fmt};

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Listening => "it listens whether others are there before it answers",
            Self::Late => "it woke up too late and listens whether others have taken over",
            Self::Unheard => "it hears others on the link, but none of them hears it",
            Self::Present => "it takes part on the link",
        })
    }
}

impl Reason for Standing {
    fn label(&self) -> &'static str {
        match self {
            Self::Listening => "listening",
            Self::Late => "late",
            Self::Unheard => "unheard",
            Self::Present => "present",
        }
    }

    fn next_step(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Listening => "wait a second; if it lasts, see the speaker's log",
            Self::Late => "wait a second; if it comes back, the node is suspended or starved of processor time",
            Self::Unheard => {
                "see whether the switch or hypervisor drops the node's multicast (EtherType 0x88B5) or its UDP port 7946"
            }
            Self::Present => "nothing to be done",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::tests::check;

    #[test]
    fn every_standing_has_a_label_a_text_and_a_next_step() {
        check(&[Standing::Listening, Standing::Late, Standing::Unheard, Standing::Present]);
    }
}
