use super::*;
use crate::register::header;

fn held() -> Register {
    let rows = [
        "P1,D1,z1,人民路,1,塔南路口,F1,C1,113.24,35.21,2,150,true,2019-05,BJ-1,post,all,true,M1,60",
        "P2,,z1,人民路,2,,F1,C1,113.25,35.21,1,100,false,,,,,,,",
        "P3,,z2,解放路,3,,F2,C2,113.26,35.22,1,100,false,,,,,,,",
    ];
    Register::parse(format!("{}\n{}\n", header(), rows.join("\n")).as_bytes()).unwrap()
}

fn import(text: &str) -> Result<Import, Vec<ImportFault>> {
    read(text, &Options::default(), &held())
}

fn faults(text: &str, options: &Options) -> String {
    let found = read(text, options, &held()).unwrap_err();
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn our_own_file_is_taken_as_it_is() {
    let held = held();
    let read = import(&format!("\u{feff}{}", held.to_csv())).unwrap();
    assert_eq!(read.register.posts(), held.posts());
    assert!(read.doubts.is_empty() && read.kept.is_empty() && read.left_out.is_empty(), "{read:?}");
}

#[test]
fn chinese_headings_and_words_are_understood_and_what_the_list_does_not_have_known_posts_keep() {
    let text = "灯杆编号\t责任区\t道路名称\t经度\t纬度\t灯具功率（W）\t是否低洼\t备注\n\
                P1\t一区\t新华路\t113.2401\t35.2101\t250\t否\t旧杆\n\
                P3\tz2\t解放路\t\t\t100\t是\t\n";
    let options = Options {
        zones: vec![("z1".to_owned(), "一区".to_owned()), ("z2".to_owned(), "二区".to_owned())],
        ..Options::default()
    };
    let read = read(text, &options, &held()).unwrap();
    let [one, three] = read.register.posts() else { panic!("{read:?}") };
    assert_eq!((&*one.zone, &*one.road, one.lamp_w, one.low_lying), ("z1", "新华路", 250.0, false));
    assert_eq!((&*one.device_id, one.lamps, &*one.feeder, one.period_s), ("D1", 2, "F1", Some(60)), "kept");
    assert_eq!(
        (three.lon, three.lat, three.low_lying),
        (113.26, 35.22, true),
        "an empty cell loses no place"
    );
    assert_eq!(read.left_out, ["备注"]);
    assert!(read.kept.contains(&"device_id") && !read.kept.contains(&"road"), "{:?}", read.kept);
    assert!(read.columns.contains(&("lamp_w", "灯具功率（W）".to_owned())), "{:?}", read.columns);
}

#[test]
fn an_empty_cell_or_a_place_at_zero_takes_nothing_away_that_is_known_of_a_post() {
    let held = "P1,D1,z1,r,1,,F1,C1,113.24,35.21,2,150,true,,,feeder,half_night,false,M1,60\n";
    let held = Register::parse(format!("{}\n{held}", header()).as_bytes()).unwrap();
    let text = format!(
        "{}\n{}\n{}\n",
        header(),
        "P1,,z1,r,1,,F1,C1,0,0.000,2,150,,,,,,,M1,",
        "P2,,z1,r,2,,F1,C1,0,0,1,100,,,,,,,,"
    );
    let import = read(&text, &Options::default(), &held).unwrap();
    assert_eq!(import.register.posts()[0], held.posts()[0]);
    let new = &import.register.posts()[1];
    assert_eq!((&*new.device_id, new.low_lying, new.monitored, new.period_s), ("P2", false, true, None));
    assert_eq!((new.lon, new.lat, import.nowhere), (0.0, 0.0, 1));
    let told = "post_id,device_id,low_lying,monitored,kind,plan\nP1,P1,false,true,post,all\n";
    let import = read(told, &Options::default(), &held).unwrap();
    let one = &import.register.posts()[0];
    assert_eq!((&*one.device_id, one.low_lying, one.monitored, &*one.plan), ("P1", false, true, "all"));
}

#[test]
fn headings_are_what_map_says_and_two_for_one_column_are_a_fault() {
    let text = "杆,编号,设备编号\nP1,甲,D1\n";
    let map = |pairs: &[(&str, &str)]| Options {
        map: pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect(),
        ..Options::default()
    };
    let read = read(text, &map(&[("杆", "post_id"), ("编号", "number")]), &held()).unwrap();
    assert_eq!(read.register.posts()[0].number, "甲");
    assert!(faults(text, &map(&[("杆", "post")])).contains("\"post\" is no column"));
    assert!(
        faults(text, &map(&[("柱", "post_id")])).contains("\"柱\", which is no heading: 杆, 编号, 设备编号")
    );
    assert!(faults("路名,杆号\n人民路,1\n", &Options::default()).contains("no heading is the post's id"));
    let both = faults("编号,灯杆编号\nP1,P1\n", &Options::default());
    assert!(both.contains("both post_id") && both.contains("--map \"编号=post_id\""), "{both}");
    let left = super::read("编号,灯杆编号\nP1,P2\n", &map(&[("编号", "-")]), &held()).unwrap();
    assert_eq!((&*left.register.posts()[0].post_id, left.left_out), ("P2", vec!["编号".to_owned()]));
}

#[test]
fn every_fault_is_told_with_its_line() {
    let text = format!(
        "{},备注\n{}\n",
        header(),
        [
            "P1,D1,z1,r,1,,F1,C1,113.24,35.21,1,1,0,,,,,,,,",
            "\"P2\",,z1,两\t行,1,,F1,C1,113.24,35.21,1,1,0,,,,,,,,",
            "P3,,z1,r,1,,F1,C1,113.24,35.21,1,1,x,,,,,,,,",
            "P1,D9,z1,r,1,,F1,C1,113.24,35.21,1,1,0,,,,,,,,",
            "P4,,z1,r,1,,F1,C1,35.21,113.24,1,1,0,,,,,,,,",
            "P5,,z1,r,1,,F1,C1,113.24,,1,1,0,,,,,,,,",
        ]
        .join("\n")
    );
    let told = faults(&text, &Options::default());
    for part in [
        "line 3: road \"两\\t行\" holds a line break",
        "line 4: low_lying \"x\" is not true or false",
        "line 5: post_id P1 is already there",
        "line 6: lon 35.21, lat 113.24: the two are swapped",
        "line 7: lon \"113.24\" and lat \"\": one of them is missing",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let short = faults(&format!("{}\nP1,D1,z1\n", header()), &Options::default());
    assert!(short.contains("line 2: 3 cells under 20 headings"), "{short}");
    let long = faults(&format!("post_id,road\nP1,{}\n", "路".repeat(TEXT_MAX + 1)), &Options::default());
    assert!(long.contains("line 2: road has 201 characters, limit 200"), "{long}");
}

#[test]
fn a_quotation_mark_that_is_not_closed_is_a_fault_with_its_line_whichever_column_it_stands_in() {
    for (text, line) in [
        // In a column that nobody takes, the last one: the row has all its cells, and P2 and P3 would be gone.
        ("post_id,备注\nP1,\"旧\nP2,\nP3,\n", "line 2: a cell goes over 3 lines"),
        ("post_id,备注\nP1,旧\nP2,\"旧\nP3,\"\n", "line 3: a cell goes over 2 lines"),
        ("post_id,road\nP1,\"a\nP2,b\n", "line 2: a cell goes over 2 lines"),
        ("post_id,\"road\nP1,a\nP2,b\n", "line 1: a cell goes over 3 lines"),
    ] {
        let told = faults(text, &Options::default());
        assert!(told.contains(line), "{text}: {told}");
    }
}

#[test]
fn points_of_geojson_are_posts_by_the_same_headings() {
    let text = r#"{"type":"FeatureCollection","crs":{"type":"name","properties":{"name":"urn:ogc:def:crs:OGC:1.3:CRS84"}},
        "features":[
        {"type":"Feature","id":"P1","geometry":{"type":"Point","coordinates":[113.241,35.211,88]},
         "properties":{"路名":"新华路","经度":999,"灯数":3,"低洼":true,"设备编号":null}},
        {"type":"Feature","id":"P9","geometry":{"type":"Point","coordinates":[113.25,35.22]},
         "properties":{"责任区":"z2","回路":"F9","路名":"新路","x":[1]}}]}"#;
    let read = import(text).unwrap();
    let [one, nine] = read.register.posts() else { panic!("{read:?}") };
    assert_eq!(
        (one.lon, one.lat, &*one.road, one.lamps, one.low_lying),
        (113.241, 35.211, "新华路", 3, true)
    );
    assert_eq!((&*one.device_id, &*one.zone), ("D1", "z1"), "null is empty, and what is empty is kept");
    assert_eq!((&*nine.post_id, &*nine.feeder, nine.lamps), ("P9", "F9", 1));
    assert!(read.left_out.contains(&"经度".to_owned()), "{:?}", read.left_out);
    for (bad, part) in [
        (r#"{"type":"Feature"}"#, "is not FeatureCollection"),
        (
            r#"{"type":"FeatureCollection","features":[{"geometry":{"type":"LineString","coordinates":[[1,2]]}}]}"#,
            "feature 1: geometry \"LineString\" is not Point",
        ),
        (
            r#"{"type":"FeatureCollection","features":[{"geometry":{"type":"Point","coordinates":["a"]}}]}"#,
            "are not [lon, lat]",
        ),
        (r#"{"type":"FeatureCollection","features":[{"properties":{}}]}"#, "feature 1: no geometry"),
        (
            r#"{"type":"FeatureCollection","crs":{"properties":{"name":"EPSG:3857"}},"features":[]}"#,
            "export it as EPSG:4326",
        ),
        (r#"{"type":"#, "cannot be read"),
    ] {
        let told = faults(bad, &Options::default());
        assert!(told.contains(part), "{bad}: {told}");
    }
}

#[test]
fn coordinates_of_other_systems_become_wgs84_and_the_wrong_name_of_one_is_doubted() {
    for crs in [Crs::Gcj02, Crs::Bd09] {
        let rows: Vec<String> = held()
            .posts()
            .iter()
            .map(|post| {
                let (lon, lat) = crs.from_wgs84((post.lon, post.lat));
                format!("{},{lon:.6},{lat:.6}", post.post_id)
            })
            .collect();
        let text = format!("post_id,lon,lat\n{}\n", rows.join("\n"));
        let right = read(&text, &Options { crs, ..Options::default() }, &held()).unwrap();
        for (post, known) in right.register.posts().iter().zip(held().posts()) {
            assert!(metres((post.lon, post.lat), (known.lon, known.lat)) < 0.5, "{post:?}");
        }
        assert!(right.doubts.is_empty(), "{:?}", right.doubts);
        let wrong = import(&text).unwrap();
        assert_eq!(wrong.doubts, [Doubt::Crs { posts: 3, of: 3, crs }]);
        assert!(wrong.doubts[0].to_string().contains(&format!("is --crs {} meant?", crs.name())));
    }
}

#[test]
fn places_that_are_swapped_or_far_from_all_others_are_doubted_and_those_without_are_counted() {
    // Ürümqi: its latitude is a longitude that could be.
    let text = "post_id,zone,feeder,lon,lat\n\
                A,z1,F,87.61,43.82\nB,z1,F,87.62,43.82\nC,z1,F,43.82,87.61\nD,z1,F,89.2,43.82\nE,z1,F,,\n";
    let read = import(text).unwrap();
    let told: Vec<String> = read.doubts.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("line 4: C at lon 43.82, lat 87.61: are the two swapped?"), "{told:?}");
    assert!(told[1].contains("line 5: D is 127 km from the middle of all posts (limit 100)"), "{told:?}");
    assert_eq!(read.nowhere, 1);
}

#[test]
fn rows_and_headings_beyond_their_limits_are_refused() {
    let headings: Vec<String> = (0..201).map(|n| format!("h{n}")).collect();
    assert!(
        faults(&format!("{}\n", headings.join(",")), &Options::default()).contains("201 headings, limit 200")
    );
    let many = format!("post_id\n{}", "P\n".repeat(ROWS_MAX + 1));
    assert!(faults(&many, &Options::default()).contains("limit 1000000"));
}
