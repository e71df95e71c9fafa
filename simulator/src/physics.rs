//! The electrical side of a post: insulation, leakage, shell voltage, and what is dangerous.
//!
//! Equations and ranges: the office's domain reference, section 17.3.
//!
//! ```text
//! Rf     = R0 * exp(-k*m)                      m = moisture, 0 to 1
//! Ir     = U / (Rf + Re)                       resistive, in phase with the supply
//! Ileak  = |Ir + j*Ic|                         a residual reading adds the two as a vector
//! Vshell = Ir * Re
//! ```

/// How a post is insulated and earthed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Insulation {
    /// Resistance of the insulation when dry, ohms. Healthy 10 to 300 MΩ, aged 0.5 to 3 MΩ, hazard 40 to 160 kΩ.
    pub dry_ohm: f32,
    /// How fast it falls with moisture, 2 to 6.5.
    pub k: f32,
    /// Resistance of the post's earth, ohms: good 2 to 10, poor 80 to 3000.
    pub earth_ohm: f32,
    /// Standing capacitive leakage of lamp and driver at nominal supply, mA, 0.3 to 1.5.
    pub capacitive_ma: f32,
}

/// Insulation after a good repair: new joint, renewed earth.
pub const REPAIRED: Insulation = Insulation { dry_ohm: 100e6, k: 2.0, earth_ohm: 4.0, capacitive_ma: 0.7 };

/// Shell voltage of a post that lost its protective earth: the driver's two equal filter capacitors hold it at
/// half the supply, 115 V, at some 0.2 mA (domain reference section 12).
const FLOATING_SHARE: f64 = 0.5;
/// Current that somebody with a meter of low impedance would see then, mA.
const FLOATING_MA: f64 = 0.2;

/// What a perfect instrument would measure at a post.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Electrical {
    /// Leakage current to earth, mA: the length of the vector of the two parts below.
    pub leakage_ma: f64,
    /// Its resistive part, mA.
    pub resistive_ma: f64,
    /// Its capacitive part, mA.
    pub capacitive_ma: f64,
    /// Voltage of the shell against remote earth, V.
    pub shell_v: f64,
    /// Supply, phase to neutral, V; 0 when the feeder is dead.
    pub supply_v: f64,
    /// Neutral against earth, V.
    pub neutral_v: f64,
    /// Water at the hand-hole, mm.
    pub water_mm: f64,
}

/// Water from here on reaches the immersion contact of a hand-hole, mm (a choice).
pub const IMMERSED_MM: f64 = 100.0;

impl Insulation {
    /// Resistance of the insulation at a moisture of 0 (dry) to 1 (soaked), ohms.
    pub fn fault_ohm(&self, moisture: f64) -> f64 {
        f64::from(self.dry_ohm) * (-f64::from(self.k) * moisture).exp()
    }

    /// What a fault resistance gives under a supply, volts. The fault is in parallel to nothing else.
    pub fn under(&self, supply_v: f64, fault_ohm: f64, nominal_v: f64) -> Electrical {
        let earth_ohm = f64::from(self.earth_ohm);
        let amps = supply_v / (fault_ohm + earth_ohm);
        let capacitive_ma = f64::from(self.capacitive_ma) * supply_v / nominal_v;
        Electrical {
            leakage_ma: (amps * 1000.0).hypot(capacitive_ma),
            resistive_ma: amps * 1000.0,
            capacitive_ma,
            shell_v: amps * earth_ohm,
            supply_v,
            ..Electrical::default()
        }
    }

    /// The same at a moisture, under 230 V: what the class of a post is chosen by.
    pub fn at(&self, moisture: f64) -> Electrical {
        self.under(230.0, self.fault_ohm(moisture), 230.0)
    }

    /// A post that has lost its protective earth. A fault that would drive current into the earth lifts the
    /// shell up to the supply instead.
    pub fn without_earth(&self, supply_v: f64, fault_ohm: f64) -> Electrical {
        // Body of the driver's capacitors against the fault: a low fault wins.
        let floating = supply_v * FLOATING_SHARE;
        let driven = supply_v * 1e6 / (1e6 + fault_ohm);
        Electrical {
            leakage_ma: FLOATING_MA,
            resistive_ma: FLOATING_MA,
            capacitive_ma: 0.0,
            shell_v: floating.max(driven),
            supply_v,
            ..Electrical::default()
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

/// The simulator's own fixed table, never the policy: mA and V on dry ground, on wet ground, and in water (domain
/// reference section 17.3; 25 V AC is the touch limit for children, 12 V the wet one, 6 V the one in water,
/// section 10).
const DRY: (f64, f64) = (30.0, 25.0);
const WET: (f64, f64) = (15.0, 12.0);
const IN_WATER: (f64, f64) = (6.0, 6.0);

/// Where marginal begins, as a share of the limit. A choice, written down here.
const MARGINAL: f64 = 2.0 / 3.0;

impl Electrical {
    /// How dangerous these true values are on dry or wet ground, or in water.
    pub fn danger(&self, wet: bool) -> Danger {
        let (leakage_ma, shell_v) = match (self.water_mm >= IMMERSED_MM, wet) {
            (true, _) => IN_WATER,
            (_, true) => WET,
            (_, false) => DRY,
        };
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

/// Currents of the posts of one feeder, added as vectors over its three phases: what a cabinet's transformer
/// sees. Equal capacitive currents on three phases cancel; a lost phase takes one of them away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Residual {
    real_ma: f64,
    imaginary_ma: f64,
}

impl Residual {
    /// Adds the current of one post on phase 0, 1 or 2.
    pub fn add(&mut self, phase: u8, resistive_ma: f64, capacitive_ma: f64) {
        // Phase angles 0°, 120°, 240°; the capacitive part leads by 90°.
        const HALF_ROOT_3: f64 = 0.866_025_403_784_438_6;
        let (cos, sin) = [(1.0, 0.0), (-0.5, HALF_ROOT_3), (-0.5, -HALF_ROOT_3)][usize::from(phase % 3)];
        self.real_ma += resistive_ma * cos - capacitive_ma * sin;
        self.imaginary_ma += resistive_ma * sin + capacitive_ma * cos;
    }

    /// Its length, mA.
    pub fn ma(self) -> f64 {
        self.real_ma.hypot(self.imaginary_ma)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn post(dry_ohm: f32, earth_ohm: f32) -> Insulation {
        Insulation { dry_ohm, k: 5.0, earth_ohm, capacitive_ma: 0.7 }
    }

    #[test]
    fn situation_s27_a_good_earth_hides_shell_voltage_and_a_bad_earth_hides_nothing() {
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
    fn situation_s26_a_post_without_its_earth_floats_at_115_v_with_hardly_a_current() {
        let floating = post(50e6, 4.0).without_earth(230.0, 50e6);
        assert_eq!((floating.shell_v, floating.leakage_ma), (115.0, 0.2));
        assert!(post(1e4, 4.0).without_earth(230.0, 1e4).shell_v > 220.0, "a fault lifts it to the supply");
    }

    #[test]
    fn equal_capacitive_currents_of_three_phases_cancel_and_a_lost_phase_shows() {
        let mut whole = Residual::default();
        (0..3).for_each(|phase| whole.add(phase, 0.0, 14.0));
        assert!(whole.ma() < 1e-9);
        let mut lost = Residual::default();
        (0..2).for_each(|phase| lost.add(phase, 0.0, 14.0));
        assert!((lost.ma() - 14.0).abs() < 1e-9);
        lost.add(2, 0.0, 14.0);
        lost.add(0, 30.0, 0.0);
        assert!((lost.ma() - 30.0).abs() < 1e-9, "a resistive fault is seen alone");
    }

    #[test]
    fn a_device_flag_has_hysteresis() {
        let at = |leakage_ma, shell_v, before| {
            Electrical { leakage_ma, shell_v, ..Electrical::default() }.vendor_alarm(before)
        };
        let raised = at(1.0, 36.0, VendorAlarm::default());
        assert_eq!(raised, VendorAlarm { leak: false, shell: true });
        assert!(at(1.0, 34.5, raised).shell && !at(39.0, 33.9, raised).any());
    }

    #[test]
    fn the_table_of_danger_holds_at_its_borders() {
        let at = |leakage_ma, shell_v, wet, water_mm| {
            Electrical { leakage_ma, shell_v, water_mm, ..Electrical::default() }.danger(wet)
        };
        assert_eq!(at(15.0, 0.0, true, 0.0), Danger::Dangerous);
        assert_eq!(at(14.9, 11.9, true, 0.0), Danger::Marginal);
        assert_eq!(at(9.9, 7.9, true, 0.0), Danger::None);
        assert_eq!(at(15.0, 0.0, false, 0.0), Danger::None);
        assert_eq!(at(29.9, 0.0, false, 0.0), Danger::Marginal);
        assert_eq!(at(0.0, 25.0, false, 0.0), Danger::Dangerous);
        assert_eq!(at(0.0, 6.0, true, IMMERSED_MM), Danger::Dangerous);
        assert_eq!(at(0.0, 6.0, true, IMMERSED_MM - 1.0), Danger::None);
    }
}
