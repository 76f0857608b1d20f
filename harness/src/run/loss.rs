//! What it means for a verdict that the lab itself lost frames.

use crate::lab::Loss;

/// Why a failure is none: the lab itself lost frames, and with them perhaps what failed. None where it did not.
pub(super) fn spoilt(losses: &[Loss], sentence: &str) -> Option<Vec<String>> {
    let mut causes = vec![
        "the lab lost frames, so that no verdict can be reached\n(the machine is too busy: `--jobs 1` runs one case at a time)"
            .to_owned(),
    ];
    let spoiling = losses.iter().filter(|loss| loss.spoils_verdicts());
    causes.extend(spoiling.map(ToString::to_string));
    if causes.len() == 1 {
        return None;
    }
    causes.push(format!("it would have failed: {sentence}"));
    Some(causes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::loss::Cause;

    #[test]
    fn nothing_is_a_failure_of_what_the_lab_has_lost() {
        let loss = |cause| Loss {
            place: "gw:eth0".to_owned(),
            frames: 3,
            cause,
        };
        assert_eq!(spoilt(&[], "`x` did not arrive"), None);
        assert_eq!(spoilt(&[loss(Cause::Guest)], "`x` did not arrive"), None);
        let causes = spoilt(
            &[loss(Cause::Guest), loss(Cause::Queue)],
            "`x` did not arrive",
        )
        .unwrap();
        let said = [
            "3 frames to or from `gw:eth0` were dropped, since the kernel had no room for them",
            "it would have failed: `x` did not arrive",
        ];
        assert_eq!(causes[1..], said);
    }
}
