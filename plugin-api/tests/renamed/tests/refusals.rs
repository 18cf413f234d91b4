//! What a crate in the place of midflight-plugin can't say for it.

#[test]
fn s11_an_offer_of_another_types_functions_is_refused() {
    trybuild::TestCases::new().compile_fail("tests/refuse/*.rs");
}
