//! Names of a city like Jiaozuo (焦作): zones, roads, landmarks.

/// Roads of each zone; a city with more roads repeats them by section (人民路2段).
pub(crate) const ROADS: [[&str; 8]; 4] = [
    ["人民路", "解放路", "建设路", "塔南路", "民主路", "新华街", "站前路", "焦西路"],
    ["焦东路", "山阳路", "迎宾路", "世纪路", "长恩路", "丰收路", "文昌路", "普济路"],
    ["中南路", "龙源路", "跃进路", "许衡路", "怡光路", "影视路", "南通路", "月季路"],
    ["东苑路", "太行路", "中原路", "碧莲路", "映湖路", "神州路", "玉溪路", "文汇路"],
];

/// Landmarks a crew can find in the dark.
pub(crate) const LANDMARKS: [&str; 24] = [
    "人民公园东门",
    "第一中学门口",
    "汽车总站",
    "市人民医院",
    "百货大楼",
    "火车站广场",
    "体育中心",
    "图书馆",
    "东方红广场",
    "农贸市场",
    "第三小学门口",
    "邮政大楼",
    "月季公园",
    "理工大学南门",
    "公交站台",
    "加油站",
    "幼儿园门口",
    "社区卫生站",
    "派出所",
    "银行门口",
    "河桥北头",
    "天河公园",
    "变电站",
    "菜市场西门",
];

/// Landmarks of low-lying stretches, where water stays.
pub(crate) const LOW_LANDMARKS: [&str; 4] = ["铁路立交桥下", "涵洞口", "下穿隧道东口", "河边低洼段"];
