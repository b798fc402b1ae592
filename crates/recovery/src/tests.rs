use super::*;

#[test]
fn known_signatures_have_a_key_every_other_time() {
    let keys = (0..CHECKED).filter(|&number| single::recover(&known_signature(number)).is_some()).count();
    assert!((20..44).contains(&keys), "{keys} keys");
}

#[test]
fn both_ways_find_the_same() {
    let signatures: Vec<_> = (100..300).map(known_signature).collect();
    let expected = Recoverer::single().recover(&signatures);
    for recoverer in [Recoverer::default(), Recoverer::detected().unwrap_or_default()] {
        let recovered = recoverer.recover(&signatures);
        let found = |recoveries: &[Recovery]| recoveries.iter().map(|one| (one.key, one.scalars)).collect::<Vec<_>>();
        assert_eq!(found(&recovered), found(&expected));
        assert!(recovered.iter().all(|one| one.root_is_odd.is_some() == (recoverer.has_lanes() && one.key.is_some())));
    }
}

#[test]
fn nothing_and_one_are_recovered_too() {
    let recoverer = Recoverer::detected().unwrap_or_default();
    assert_eq!(recoverer.recover(&[]), []);
    let one = [known_signature(3)];
    assert_eq!(recoverer.recover(&one), Recoverer::single().recover(&one));
}

/// With R = G, u₁ = −z/r and u₂ = s/r: z = s is the point at infinity, s = −z is 2·(z/r)·G, where the last step adds equal
/// points. Whatever the lanes are not sure of, libsecp256k1 decides.
#[cfg(target_arch = "x86_64")]
#[test]
fn what_the_lanes_are_not_sure_of_is_asked_of_libsecp256k1() {
    let g_x = alloy_primitives::b256!("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
    let infinity = Signature { hash: g_x, r: g_x, s: g_x, is_odd: false };
    let signatures = [infinity, known_signature(0)];
    let Some(outcomes) = in_lanes(&signatures, &Scalars::of_many(&signatures)) else { return };
    assert_eq!(outcomes[0], Outcome::Unsure);
    assert_eq!(Recoverer::detected().unwrap_or_default().recover(&signatures)[0].key, None);
}
