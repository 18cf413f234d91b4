//! Features of CPUs that a compiler may use without asking.

/// Features of this machine's kind beyond those that all of its kind have, each with a truth: with
/// `built_for` whether the crate that says so is compiled for CPUs that have it, with `detected`
/// whether the CPU that it runs on has it.
#[doc(hidden)]
#[macro_export]
macro_rules! cpu_features {
    (built_for) => { $crate::cpu_features!(@list built_for) };
    (detected) => { $crate::cpu_features!(@list detected) };
    (@all $how:tt $($name:tt)*) => { &[$( $crate::cpu_features!(@one $how $name), )*] };
    (@one built_for $name:tt) => { ($name, $crate::core::cfg!(target_feature = $name)) };
    (@one detected $name:tt) => { ($name, $crate::cpu_detected!($name)) };
    (@list $how:tt) => { $crate::cpu_names!($how) };
}

/// Does the CPU that this runs on have the feature?
#[doc(hidden)]
#[cfg(target_arch = "x86_64")]
#[macro_export]
macro_rules! cpu_detected {
    ($name:tt) => {
        ::std::arch::is_x86_feature_detected!($name)
    };
}

/// Does the CPU that this runs on have the feature?
#[doc(hidden)]
#[cfg(target_arch = "aarch64")]
#[macro_export]
macro_rules! cpu_detected {
    ($name:tt) => {
        ::std::arch::is_aarch64_feature_detected!($name)
    };
}

/// The names of the features.
#[doc(hidden)]
#[cfg(target_arch = "x86_64")]
#[macro_export]
macro_rules! cpu_names {
    ($how:tt) => {
        $crate::cpu_features!(@all $how
            "adx" "aes" "avx" "avx2" "avx512bf16" "avx512bitalg" "avx512bw" "avx512cd" "avx512dq"
            "avx512f" "avx512fp16" "avx512ifma" "avx512vbmi" "avx512vbmi2" "avx512vl" "avx512vnni"
            "avx512vp2intersect" "avx512vpopcntdq" "avxifma" "avxneconvert" "avxvnni"
            "avxvnniint16" "avxvnniint8" "bmi1" "bmi2" "cmpxchg16b" "f16c" "fma" "gfni" "kl"
            "lzcnt" "movbe" "pclmulqdq" "popcnt" "rdrand" "rdseed" "sha" "sha512" "sm3" "sm4"
            "sse3" "sse4.1" "sse4.2" "sse4a" "ssse3" "tbm" "vaes" "vpclmulqdq" "widekl" "xsave"
            "xsavec" "xsaveopt" "xsaves")
    };
}

/// The names of the features. Those whose instructions do nothing on other CPUs are left out.
#[doc(hidden)]
#[cfg(target_arch = "aarch64")]
#[macro_export]
macro_rules! cpu_names {
    ($how:tt) => {
        $crate::cpu_features!(@all $how
            "aes" "bf16" "crc" "dotprod" "dpb" "dpb2" "f32mm" "f64mm" "fcma" "fhm" "flagm" "fp16"
            "frintts" "i8mm" "jsconv" "lse" "paca" "pacg" "rand" "rcpc" "rcpc2" "rdm" "sha2"
            "sha3" "sm4" "sve" "sve2")
    };
}
