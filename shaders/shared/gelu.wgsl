// 2 √(2/π)
const SLOPE: f32 = 1.5957691216057308;
const CUBE: f32 = 0.044715;
