//! The electrical side of a post: insulation, leakage, shell voltage, and what is dangerous.
//!
//! Equations and ranges: the office's domain reference, section 17.3.
//!
//! ```text
//! Rf     = R0 * exp(-k*m)                      m = moisture, 0 to 1
//! Ileak  = hypot(230/(Rf+Re), Icap)            a residual reading adds the two in quadrature
//! Vshell = 230*Re/(Rf+Re)
//! ```

/// Nominal supply, volts, phase to neutral.
pub const SUPPLY_V: f64 = 230.0;

/// How a post is insulated and earthed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Insulation {
    /// Resistance of the insulation when dry, ohms. Healthy 10 to 300 MΩ, aged 0.5 to 3 MΩ, hazard 40 to 160 kΩ.
    pub dry_ohm: f32,
    /// How fast it falls with moisture, 2 to 6.5.
    pub k: f32,
    /// Resistance of the post's earth, ohms: good 2 to 10, poor 80 to 3000.
    pub earth_ohm: f32,
    /// Standing capacitive leakage of lamp and driver, mA, 0.3 to 1.5.
    pub capacitive_ma: f32,
}

/// What a perfect instrument would measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Electrical {
    /// Leakage current to earth, mA.
    pub leakage_ma: f64,
    /// Voltage of the shell against remote earth, V.
    pub shell_v: f64,
}

impl Insulation {
    /// Leakage and shell voltage at a moisture of 0 (dry) to 1 (soaked), under supply.
    pub fn at(&self, moisture: f64) -> Electrical {
        let fault_ohm = f64::from(self.dry_ohm) * (-f64::from(self.k) * moisture).exp();
        let earth_ohm = f64::from(self.earth_ohm);
        let amps = SUPPLY_V / (fault_ohm + earth_ohm);
        Electrical {
            leakage_ma: (amps * 1000.0).hypot(f64::from(self.capacitive_ma)),
            shell_v: amps * earth_ohm,
        }
    }
}

/// What a true value means for somebody who touches the post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Danger {
    /// Below two thirds of the limits.
    None,
    /// From two thirds of a limit: telling of it is no false alarm, missing it no failure.
    Marginal,
    /// At or above a limit.
    Dangerous,
}

/// The simulator's own fixed table, never the policy: dry 30 mA or 25 V, wet 15 mA or 12 V (domain reference
/// section 17.3; 25 V AC is the touch limit for children, 12 V the wet one, section 10).
const LIMITS: [(f64, f64); 2] = [(30.0, 25.0), (15.0, 12.0)];

/// Where marginal begins, as a share of the limit. A choice, written down here.
const MARGINAL: f64 = 2.0 / 3.0;

impl Electrical {
    /// How dangerous these true values are on dry or wet ground.
    pub fn danger(&self, wet: bool) -> Danger {
        let (leakage_ma, shell_v) = LIMITS[usize::from(wet)];
        let share = (self.leakage_ma / leakage_ma).max(self.shell_v / shell_v);
        if share >= 1.0 {
            Danger::Dangerous
        } else if share >= MARGINAL {
            Danger::Marginal
        } else {
            Danger::None
        }
    }

    /// What a device with its own limits says: raised at 40 mA and 36 V, dropped at 38 mA and 34 V (domain
    /// reference sections 14.1 and 14.5).
    pub fn vendor_alarm(&self, before: VendorAlarm) -> VendorAlarm {
        VendorAlarm {
            leak: self.leakage_ma >= if before.leak { 38.0 } else { 40.0 },
            shell: self.shell_v >= if before.shell { 34.0 } else { 36.0 },
        }
    }
}

/// The alarms a device raises by its own limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VendorAlarm {
    /// Leakage.
    pub leak: bool,
    /// Shell voltage.
    pub shell: bool,
}

impl VendorAlarm {
    /// True when either is raised.
    pub fn any(self) -> bool {
        self.leak || self.shell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn post(dry_ohm: f32, earth_ohm: f32) -> Insulation {
        Insulation { dry_ohm, k: 5.0, earth_ohm, capacitive_ma: 0.7 }
    }

    #[test]
    fn a_good_earth_hides_shell_voltage_and_a_bad_earth_hides_nothing() {
        let good = post(420.0, 4.0).at(0.0);
        assert!((good.leakage_ma - 542.0).abs() < 2.0 && (good.shell_v - 2.2).abs() < 0.1);
        let bad = post(186.0, 400.0).at(0.0);
        assert!((bad.shell_v - 157.0).abs() < 1.0);
    }

    #[test]
    fn the_residual_adds_in_quadrature() {
        let insulation = Insulation { capacitive_ma: 70.0, ..post(7660.0, 4.0) };
        assert!((insulation.at(0.0).leakage_ma - 76.2).abs() < 0.2, "70 mA and 30 mA read 76 mA");
    }

    #[test]
    fn a_device_flag_has_hysteresis() {
        let at = |leakage_ma, shell_v, before| Electrical { leakage_ma, shell_v }.vendor_alarm(before);
        let raised = at(1.0, 36.0, VendorAlarm::default());
        assert_eq!(raised, VendorAlarm { leak: false, shell: true });
        assert!(at(1.0, 34.5, raised).shell && !at(39.0, 33.9, raised).any());
    }

    #[test]
    fn the_table_of_danger_holds_at_its_borders() {
        let at = |leakage_ma, shell_v, wet| Electrical { leakage_ma, shell_v }.danger(wet);
        assert_eq!(at(15.0, 0.0, true), Danger::Dangerous);
        assert_eq!(at(14.9, 11.9, true), Danger::Marginal);
        assert_eq!(at(9.9, 7.9, true), Danger::None);
        assert_eq!(at(15.0, 0.0, false), Danger::None);
        assert_eq!(at(29.9, 0.0, false), Danger::Marginal);
        assert_eq!(at(0.0, 25.0, false), Danger::Dangerous);
    }
}
